"""The programs that the product is compared with."""
