"""Weights from the network: a line says what is fetched, and where nothing can be fetched that is known at once."""

import logging
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants

log = logging.getLogger(__name__)


@contextmanager
def fetching(what: str) -> Iterator[None]:
    """While libraries look for ``what`` in their caches, then on the Hub.

    Their client tries each file six times and logs each try twice: it is silent here, since our own error tells, and
    without a network it is told to look into the cache alone.
    """
    log.info("weights: %s, from the cache, or fetched into it", what)
    client, offline = logging.getLogger("huggingface_hub"), constants.HF_HUB_OFFLINE
    level = client.level
    client.setLevel(logging.ERROR)
    constants.HF_HUB_OFFLINE = offline or _no_network(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        client.setLevel(level)


def _no_network(address: str) -> bool:
    """Whether the Hub is certainly out of reach; behind a proxy, or if it is only slow, its client has to find out."""
    if urllib.request.getproxies():
        return False
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=10).close()
    except urllib.error.URLError as error:
        return isinstance(error.reason, socket.gaierror | ConnectionRefusedError)
    except (OSError, ValueError):
        return False
    return False
