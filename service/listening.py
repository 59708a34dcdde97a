"""The socket of the service; an address that can't be had is our own error."""

import socket

from service.errors import ConfigurationError

_BACKLOG = 2048  # connections that wait to be accepted


def bound(host: str, port: int) -> socket.socket:
    """A socket that has its address, and is not listened on yet.

    Raises:
        ConfigurationError: the address can't be had.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address[:2])
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise _refused(host, port, error) from error
    return listener


def listen(listener: socket.socket, host: str, port: int) -> None:
    """Let connections come.

    Args:
        listener: of `bound`, with the same address.

    Raises:
        ConfigurationError: somebody else listens there.
    """
    try:
        listener.listen(_BACKLOG)
    except OSError as error:
        raise _refused(host, port, error) from error


def shown(listener: socket.socket) -> str:
    """The URL to ask."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _refused(host: str, port: int, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"can't listen on {host} port {port} ({error.strerror}); "
        "choose others with --host and --port"
    )
