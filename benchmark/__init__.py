"""gantlet: trains GANs in one harness and scores them by one protocol."""

__version__ = "0.1.0"
