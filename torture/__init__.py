"""What is promised about durability, tried by anyone: `bin/torture`."""
