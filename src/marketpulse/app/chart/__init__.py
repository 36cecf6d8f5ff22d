"""A picture of bars without a server and without a browser: PNG, SVG, or a page of one file."""
