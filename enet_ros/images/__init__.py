"""Images: reading them from files, videos, bags and messages, and resizing and colouring them."""
