"""What commands print: text for a terminal, HTML for a notebook, JSON and CSV for machines."""
