"""What a network's answers to each image say beyond their mean: pure functions of ``Outcomes``."""
