"""What is learned from: one LightningDataModule per file."""
