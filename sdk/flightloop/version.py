"""The version of the SDK and of the platform that it belongs to."""

VERSION = "0.1.0"
