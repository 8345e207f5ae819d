"""Version of the SDK and of the platform."""

VERSION = "0.1.0"
