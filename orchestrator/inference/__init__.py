"""Uses trained networks: finds, predicts, profiles and exports them."""
