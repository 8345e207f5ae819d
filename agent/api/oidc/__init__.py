"""Persons who log in at an OpenID Connect issuer."""

from agent.api.oidc.issuer import Issuer, trusted
from agent.api.oidc.persons import OidcPersons, PersonRule
from agent.api.oidc.token import TokenVerifier

__all__ = ["Issuer", "OidcPersons", "PersonRule", "TokenVerifier", "trusted"]
