"""`python -m sprocket_factory` is the same as `sprocket-factory`."""

from sprocket_factory.commands import main

main()
