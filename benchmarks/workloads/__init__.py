"""What is measured: one module a workload, each gives one `Result` a round."""
