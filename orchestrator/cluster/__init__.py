"""A Ray cluster: starts one or joins one, ends it, and asks its nodes what they have."""
