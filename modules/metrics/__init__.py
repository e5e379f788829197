"""What an epoch is measured by, as torchmetrics."""
