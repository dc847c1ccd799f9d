"""Trains and runs one anytime neural network (Hu, Dey, Bagnell, Hebert, arXiv 1708.06832)."""
