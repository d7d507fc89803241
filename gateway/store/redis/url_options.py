"""What stands behind the `?` of a Redis URL: every parameter is taken, or refused by its name."""

from __future__ import annotations

import re
import ssl
from urllib.parse import parse_qsl

from gateway.errors import SettingError

SETTING = "GATEWAY_REDIS_URL"
SENTINEL = "sentinel_"
TLS = ("ssl_ca_certs", "ssl_cert_reqs", "ssl_check_hostname", "ssl_certfile", "ssl_keyfile")
KNOWN = (
    *("db", "username", "password"),
    *(f"{SENTINEL}{name}" for name in ("username", "password", "tls")),
    *TLS,
)
_WORDS = {"true": True, "yes": True, "on": True, "1": True}
_WORDS |= {"false": False, "no": False, "off": False, "0": False}
_VERIFY = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE}
_NAME = re.compile(r"[a-z0-9_]{1,40}")


class UrlOptions:
    """The parameters of one URL. What nobody has taken in the end is refused."""

    def __init__(self, query: str) -> None:
        """Read them.

        Raises:
            SettingError: one is not known, has no value, or is there twice.
        """
        self._values: dict[str, str] = {}
        for name, value in parse_qsl(query, keep_blank_values=True):
            if not _NAME.fullmatch(name):  # not repeated: it may be a piece of a password
                raise SettingError(SETTING, "has an invalid parameter after its ?")
            if name not in KNOWN:
                known = ", ".join(KNOWN)
                raise SettingError(SETTING, f"there is no parameter {name}; there are {known}")
            if name in self._values or not value:
                raise SettingError(SETTING, f"?{name}= must have one value")
            self._values[name] = value

    def text(self, name: str) -> str | None:
        """Take a parameter; None if it is not there."""
        return self._values.pop(name, None)

    def instead_of(self, given: str | None, name: str) -> str | None:
        """Take what may stand elsewhere in the URL, but not in both places."""
        value = self.text(name)
        if given is not None and value is not None and value != given:
            raise SettingError(SETTING, f"sets {name} twice, with different values")
        return value if given is None else given

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Take a parameter that is true or false."""
        value = self.text(name)
        if value is None:
            return default
        if value.lower() not in _WORDS:
            raise SettingError(SETTING, f"?{name}= must be true or false")
        return _WORDS[value.lower()]

    def tls(self) -> ssl.SSLContext:
        """Take what says how TLS is to be done."""
        verify = self.text("ssl_cert_reqs") or "required"
        if verify not in _VERIFY:
            raise SettingError(SETTING, f"?ssl_cert_reqs= must be one of {', '.join(_VERIFY)}")
        authority = self.text("ssl_ca_certs")
        try:
            context = ssl.create_default_context(cafile=authority)
        except OSError as exc:  # ssl.SSLError is one
            raise SettingError(SETTING, "?ssl_ca_certs= is not a file of certificates") from exc
        checks_name = self.flag("ssl_check_hostname", default=verify != "none")
        if checks_name and verify == "none":
            raise SettingError(SETTING, "?ssl_check_hostname= needs ssl_cert_reqs=required")
        context.check_hostname = checks_name
        context.verify_mode = _VERIFY[verify]
        self._show_certificate(context)
        return context

    def check_all_taken(self) -> None:
        """See that everything that was said means something for this kind of URL.

        Raises:
            SettingError: one does not; says which.
        """
        for name in self._values:
            kind = "redis+sentinel://" if name.startswith(SENTINEL) else "URLs with TLS"
            raise SettingError(SETTING, f"?{name}= is for {kind} only")

    def _show_certificate(self, context: ssl.SSLContext) -> None:
        certificate, key = self.text("ssl_certfile"), self.text("ssl_keyfile")
        if certificate is None:
            if key is not None:
                raise SettingError(SETTING, "?ssl_keyfile= needs ssl_certfile=")
            return
        try:
            context.load_cert_chain(certificate, key)
        except OSError as exc:
            problem = "?ssl_certfile= and ?ssl_keyfile= name no certificate with its key"
            raise SettingError(SETTING, problem) from exc
