"""DeepLabV3 is torchvision's where that has it, at both output strides, with weights from files."""

from pathlib import Path

import pytest
import torch
from torchvision.models import get_model

from modules.networks.deeplab import NATIVE_STRIDE, Backbone, deeplab, pretrained_classes
from sextant.errors import InputError


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Path]:
    """Torchvision's own DeepLabV3 with three classes, and a file with its weights."""
    torch.manual_seed(0)
    network = get_model("deeplabv3_mobilenet_v3_large", weights_backbone=None, num_classes=3, aux_loss=True).eval()
    file = tmp_path_factory.mktemp("weights") / "published.pt"
    torch.save(network.state_dict(), file)
    return network, file


def test_weights_of_torchvision_give_its_answers(published: tuple[torch.nn.Module, Path]) -> None:
    network, file = published
    ours = deeplab("mobilenet_v3_large", 3, 16, auxiliary=True, weights=str(file)).eval()
    image = torch.randn(1, 3, 65, 49)
    with torch.no_grad():
        expected, found = network(image), ours(image)
    assert found.keys() == expected.keys() == {"out", "aux"}
    assert all(torch.equal(found[head], expected[head]) for head in expected)


@pytest.mark.parametrize("backbone", ["resnet50", "mobilenet_v3_large"])
def test_network_at_the_stride_of_torchvision_is_built_as_torchvisions(backbone: Backbone) -> None:
    native = get_model(f"deeplabv3_{backbone}", weights_backbone=None, num_classes=3, aux_loss=True)
    ours = deeplab(backbone, 3, NATIVE_STRIDE[backbone], auxiliary=True)  # type: ignore[arg-type]
    described = [
        [
            (name, *map(str, (m.stride, m.dilation, m.padding)))
            for name, m in n.named_modules()
            if hasattr(m, "dilation")
        ]
        for n in (native, ours)
    ]
    assert described[0] == described[1]
    assert native.state_dict().keys() == ours.state_dict().keys()


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("backbone", ["resnet50", "mobilenet_v3_large"])
def test_features_are_as_far_apart_as_the_output_stride(backbone: Backbone, stride: int) -> None:
    network = deeplab(backbone, 2, stride, auxiliary=False).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        assert network.backbone(torch.zeros(1, 3, 64, 96))["out"].shape[-2:] == (64 // stride, 96 // stride)
        assert network(torch.zeros(1, 3, 41, 50))["out"].shape == (1, 2, 41, 50)


def test_dilations_of_the_pyramid_are_those_of_the_paper() -> None:
    for stride, rates in ((8, [12, 24, 36]), (16, [6, 12, 18])):
        pyramid = deeplab("resnet50", 2, stride, auxiliary=False).classifier[0]  # type: ignore[arg-type]
        assert [branch[0].dilation[0] for branch in pyramid.convs[1:4]] == rates


def test_heads_for_other_classes_start_anew_and_a_warning_says_so(published: tuple[torch.nn.Module, Path]) -> None:
    network, file = published
    with pytest.warns(UserWarning, match=r"fit aux_classifier.4.bias, .*classifier.4.weight: these start from random"):
        ours = deeplab("mobilenet_v3_large", 7, 16, auxiliary=True, weights=str(file))
    old, new = network.state_dict(), ours.state_dict()
    changed = {name for name in old if old[name].shape != new[name].shape or not torch.equal(old[name], new[name])}
    assert changed == {f"{head}.4.{part}" for head in ("classifier", "aux_classifier") for part in ("weight", "bias")}


@pytest.mark.parametrize("backbone", ["resnet50", "mobilenet_v3_large"])
def test_backbone_takes_the_weights_of_a_classifier(backbone: Backbone, tmp_path: Path) -> None:
    torch.manual_seed(1)
    classifier = get_model(backbone, weights=None)
    torch.save({"state_dict": classifier.state_dict()}, tmp_path / "classifier.ckpt")
    ours = deeplab(backbone, 2, 8, auxiliary=True, backbone_weights=str(tmp_path / "classifier.ckpt"))
    source = classifier if backbone == "resnet50" else classifier.features
    for name, value in ours.backbone.state_dict().items():
        assert torch.equal(value, source.state_dict()[name]), name


def test_weights_of_another_network_are_refused(published: tuple[torch.nn.Module, Path]) -> None:
    _, file = published
    with pytest.raises(InputError, match=r"published\.pt: not the weights of this network: .*Check model\.backbone"):
        deeplab("resnet50", 3, 16, auxiliary=True, weights=str(file))
    with pytest.raises(InputError, match="not the weights of this network"):
        deeplab("mobilenet_v3_large", 3, 16, auxiliary=True, backbone_weights=str(file))


def test_unknown_weights_are_named_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"model\.weights: .*no weights named 'COCO'.*COCO_WITH_VOC_LABELS_V1"):
        deeplab("resnet50", 21, 16, auxiliary=True, weights="COCO")
    with pytest.raises(InputError, match=r"model\.backbone_weights: resnet50 has no weights named 'BEST'"):
        deeplab("resnet50", 21, 16, auxiliary=True, backbone_weights="BEST")
    with pytest.raises(InputError, match=r"none\.pt: there is no such file \(model\.weights\)"):
        deeplab("resnet50", 21, 16, auxiliary=True, weights="none.pt")
    with pytest.raises(InputError, match="not both"):
        deeplab("resnet50", 21, 16, auxiliary=True, weights="DEFAULT", backbone_weights="DEFAULT")


def test_weights_of_a_name_tell_their_classes() -> None:
    classes = pretrained_classes("resnet50", "COCO_WITH_VOC_LABELS_V1")
    assert (len(classes), classes[0], classes[15]) == (21, "background", "person")
    assert pretrained_classes("resnet50", "file.pt") == []
