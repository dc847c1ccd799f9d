"""Shows the ledger in MLflow, which holds nothing that the ledger does not."""
