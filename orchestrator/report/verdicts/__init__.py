"""What a sweep decides, in words and as rows, and what it could decide."""
