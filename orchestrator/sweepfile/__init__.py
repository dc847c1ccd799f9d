"""Reads what a user asks for: a sweep file, with every fault in it and its line."""
