"""What a user asks for: sweep files, and the grid of cells and trials that they make."""
