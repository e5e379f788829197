"""ImageNet's normalization of images."""

# So that pretrained weights see what they were trained on (torchvision's presets).
IMAGENET_MEAN = [0.485, 0.456, 0.406]
IMAGENET_STD = [0.229, 0.224, 0.225]
