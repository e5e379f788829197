"""What is learned: one LightningModule per file."""
