"""The paper's own numbers, its claims, and the comparison of a sweep with them."""
