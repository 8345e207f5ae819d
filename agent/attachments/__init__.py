"""Images and tables in what users send: taken in safely, and shown to models."""
