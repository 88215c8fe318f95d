"""For whom a server on this machine takes itself: a page elsewhere must not make it answer.

A page whose name is made to point at 127.0.0.1 (DNS rebinding) is of the same origin as a server
that answers to that name; one of another origin can send requests, if not read answers.
"""

from __future__ import annotations

import ipaddress
import urllib.parse
from collections.abc import Collection

_HERE = ("localhost", "127.0.0.1", "::1")


def is_loopback(host: str) -> bool:
  """Whether only this machine reaches an address."""
  try:
    return ipaddress.ip_address(host).is_loopback
  except ValueError:
    return host == "localhost"


def expected(bound: str, given: Collection[str]) -> frozenset[str] | None:
  """The names that requests may ask for; None: any.

  Args:
    bound: the address that the server listens on.
    given: names that the user allows, besides those of this machine.
  """
  if not given and not is_loopback(bound):
    return None
  return frozenset(name.lower().strip("[]") for name in (*_HERE, bound, *given))


def refuse(host: str | None, origin: str | None, allowed: frozenset[str] | None) -> str:
  """Why a request with these headers is not answered; "" where it is.

  Args:
    host: what `Host` says; clients that are no browsers may leave it out.
    origin: what `Origin` says, which browsers tell of the page that asks.
    allowed: see `expected`.
  """
  if allowed is None:
    return ""
  if host is not None and _name(f"//{host}") not in allowed:
    return (
      f"expected a Host of {', '.join(sorted(allowed))}, found {host[:80]!r}; see --allowed_hosts"
    )
  if origin is not None and _name(origin) not in allowed:
    return f"expected a page of this server to ask, found the Origin {origin[:80]!r}"
  return ""


def _name(url: str) -> str | None:
  try:
    return urllib.parse.urlsplit(url).hostname
  except ValueError:
    return None
