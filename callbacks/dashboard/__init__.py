"""What TensorBoard shows of a run beside its images: charts in groups, settings, texts."""
