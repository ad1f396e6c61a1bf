"""How the world asks. One file per noun, and what they share."""
