"""The client with threads; but for `_io.py` made from `_aio`."""
