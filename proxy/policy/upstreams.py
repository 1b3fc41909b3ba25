"""upstreams -- where calls may go: the YAML model of one upstream, and the same with its secrets resolved.

Stands beside the policies, which name upstreams and never describe them. Read at load; the adapter takes it from there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from proxy.policy.addresses import Address, address
from proxy.policy.problems import Path
from proxy.policy.secrets import Env, Missing, ReadFile, Secret, check_references, has_reference, read_file
from proxy.policy.spec import Line, Spec, Wrong
from proxy.policy.units import SECRET, Form, Many

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}").fullmatch
FRAMING = frozenset(
    ("connection", "content-length", "expect", "host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")
)
CREDENTIALS = frozenset(("authorization", "proxy-authorization", "api-key", "x-api-key", "cookie", "openai-organization", "openai-project"))
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}").fullmatch


def _name(value: str) -> str:
    if not _NAME(value):
        raise Wrong("a name is 1 to 63 letters, digits, '-', '_' and '.', the first a letter or digit")
    return value


Name = Annotated[
    str,
    AfterValidator(_name),
    Form("name", "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", "1 to 63 letters, digits, '-', '_' and '.', the first a letter or digit"),
]


def _header_name(value: str) -> str:
    if not _TOKEN(value):
        raise Wrong("must be a header name")
    if value.lower() in FRAMING:
        raise Wrong(f"'{value}' belongs to the transport and cannot be set here", got=False)
    return value


def _references(value: str) -> str:
    return check_references(value)


_ENDPOINT = re.compile(r"/(chat/completions|completions|responses|embeddings)$")


def _checked_url(value: str) -> str:
    if found := _ENDPOINT.search(address(value).path):
        raise Wrong("ends with an endpoint's path, which each call brings", f"leave out '{found[0]}'", got=False)
    return value


def _any_case(word: str) -> str:
    """A pattern of a word in any case; JSON Schema's patterns have no flag for it."""
    return "".join(f"[{c.upper()}{c}]" if c.isalpha() else c for c in word)


def _header_form(but: frozenset[str], must_be: str) -> Form:
    not_these = "|".join(_any_case(name) for name in sorted(but))
    return Form("header name", rf"^(?!({not_these})$)[!#$%&'*+.^_`|~0-9A-Za-z-]{{1,128}}$", must_be)


HeaderName = Annotated[str, AfterValidator(_header_name), _header_form(FRAMING, "a header name, and not one that belongs to the transport")]
KeptName = Annotated[
    HeaderName, _header_form(FRAMING | CREDENTIALS, "a header name; the caller's credential and the transport's headers never follow")
]
Referring = Annotated[
    Line,
    AfterValidator(_references),
    Form(
        "text with references",
        r"^([^$\r\n\u0000]|\$(?!\{)|\$\{([A-Za-z_][A-Za-z0-9_]*|file:/[^}\r\n\u0000]*)\})+$",
        "one line of text, its references ${NAME} or ${file:/path}",
    ),
]
Url = Annotated[
    Line,
    AfterValidator(_checked_url),
    Form(
        "url",
        r"^[Hh][Tt][Tt][Pp][Ss]?://[^\u0000-\u0020\u007f-\uffff/?#@\\\"<>^`{|}]+(/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*$",
        "https://host/v1 or http://host/v1, without a user name, a query or a fragment",
    ),
]


class AuthSpec(Spec):
    """How the credential is sent: `bearer`, `none`, or `{header: api-key}`."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"scheme": {"const": "header"}}, "required": ["scheme"]},
            "then": {"required": ["header"]},
            "else": {"not": {"required": ["scheme", "header"]}},
        }
    )
    shorthand: ClassVar[str | None] = "scheme"
    scheme: Literal["bearer", "none", "header"] = Field(
        "bearer", description="`bearer`: as `Authorization: Bearer …`; `none`: not at all; `header`: alone in the header named beside."
    )
    header: HeaderName | None = Field(None, description="The header that carries the key alone, as Azure's.", examples=["api-key"])

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        out = super().__get_pydantic_json_schema__(schema, handler)
        arms = handler.resolve_ref_schema(out)["anyOf"]
        arms[0] = {**arms[0], "enum": [scheme for scheme in arms[0]["enum"] if scheme != "header"]}  # it needs the header's name beside
        return out

    @model_validator(mode="after")
    def _agrees(self) -> AuthSpec:
        if self.header is not None and "scheme" in self.model_fields_set and self.scheme != "header":
            raise Wrong(f"`header` cannot stand beside `scheme: {self.scheme}`", got=False)
        if self.header is None and self.scheme == "header":
            raise Wrong("needs the header's name", "write auth: {header: api-key}", got=False)
        return self


class HeadersSpec(Spec):
    """Headers of what goes to this upstream."""

    set: dict[HeaderName, Referring] = Field(
        default_factory=dict,
        description="Set on every request; `${ENV}` and `${file:…}` are resolved.",
        json_schema_extra={**SECRET},
        repr=False,
    )
    keep: Annotated[tuple[KeptName, ...], Many()] = Field(
        (), description="Headers of the caller that may follow to this upstream, beyond the usual allow-list. Home gets all of them anyway."
    )

    @model_validator(mode="after")
    def _keeps_no_credential(self) -> HeadersSpec:
        for i, name in enumerate(self.keep):
            if name.lower() in CREDENTIALS:
                message = f"'{name}' is the caller's credential and never follows to another upstream"
                raise Wrong(message, "use `key`", got=False, at=("keep", i))
        seen: set[str] = set()
        for name in self.set:
            if name.lower() in seen:
                raise Wrong(f"'{name}' is named twice, as names of headers have no case", got=False, at=("set", name))
            seen.add(name.lower())
        return self


class TlsSpec(Spec):
    """TLS towards this upstream. Paths are absolute, or relative to the policy file."""

    model_config = ConfigDict(json_schema_extra={"dependencies": {"key": ["cert"]}})
    ca: Line | None = Field(None, description="PEM file of the authorities to trust, instead of the system's.")
    cert: Line | None = Field(None, description="PEM file of our own certificate, where the upstream asks for one.")
    key: Line | None = Field(None, description="PEM file of the certificate's key; left out where `cert` holds both.")
    server_name: Line | None = Field(None, description="The name to ask for and to verify, where it is not the url's host.")

    @model_validator(mode="after")
    def _key_has_cert(self) -> TlsSpec:
        if self.key is not None and self.cert is None:
            raise Wrong("a key needs a certificate", "add `cert`", got=False, at=("key",))
        return self


class UpstreamSpec(Spec):
    """An OpenAI-compatible API that calls may be sent to."""

    url: Url = Field(
        description="Where it is, up to and with `/v1`: it stands for the app's `/v1`.", examples=["https://api.openai.com/v1"]
    )
    key: Referring | None = Field(
        None,
        description="Its credential, `${ENV}` or `${file:/path}`, or `none` where it needs none. Only home may leave it out: "
        "the caller's own goes there, and only there.",
        examples=["${GROQ_API_KEY}", "${file:/run/secrets/groq}", "none"],
        json_schema_extra={**SECRET},
        repr=False,
    )
    auth: AuthSpec = Field(default_factory=lambda: AuthSpec.read({}), description="How `key` is sent.")
    headers: HeadersSpec = Field(
        default_factory=lambda: HeadersSpec.read({}), description="Headers to set, and caller's headers to let through."
    )
    query: dict[str, Referring] = Field(
        default_factory=dict,
        description="Added to the query of each request, as Azure's `api-version`.",
        json_schema_extra={**SECRET},
        repr=False,
    )
    models: dict[str, Line] = Field(default_factory=dict, description="Its own names of models: asked for, to sent.")
    tls: TlsSpec | None = Field(None, description="Own authorities, a client certificate, another server name.")
    proxy: Referring | None = Field(
        None,
        description="An HTTP proxy to go through, by CONNECT.",
        examples=["http://proxy.corp:3128"],
        json_schema_extra={**SECRET},
        repr=False,
    )
    allow_insecure: bool = Field(False, description="Allow `http://` to a host that is not this machine.")
    trace: bool = Field(False, description="Send the exchange span's `traceparent` instead of none (or, to home, the caller's).")

    @model_validator(mode="after")
    def _agrees(self) -> UpstreamSpec:
        at = address(self.url)
        if at.scheme == "http" and not at.loopback and not self.allow_insecure:
            hint = "use https://, or set allow_insecure: true"
            raise Wrong("http:// would send prompts and keys in clear", hint, got=False, at=("url",))
        if at.scheme == "http" and self.tls is not None:
            raise Wrong("`tls` needs an https:// url", got=False, at=("tls",))
        carried = self.auth.header or "authorization"
        if self.key not in (None, "none") and self.auth.scheme != "none" and carried.lower() in (name.lower() for name in self.headers.set):
            raise Wrong(f"'{carried}' is already set from `key`", "set it in one place", got=False, at=("headers", "set"))
        for name in self.query:
            if not name or not name.isascii() or not name.isprintable():
                raise Wrong("names must be printable ASCII", got=False, at=("query", name))
        return self


@dataclass(slots=True, frozen=True)
class Credential:
    """One header to send: `Authorization: Bearer …` or a header of the upstream's own."""

    header: str
    prefix: str
    secret: Secret

    @property
    def line(self) -> str:
        """The header's value in clear."""
        return self.prefix + self.secret.value


@dataclass(slots=True, frozen=True)
class Upstream:
    """An upstream as the adapter takes it: parsed, secrets resolved. `credential` is None for `none`, and for home without a key."""

    name: str
    spec: UpstreamSpec
    address: Address
    credential: Credential | None
    callers_credential: bool  # home without a key: the caller's own goes there
    headers: tuple[tuple[str, Secret], ...]
    query: tuple[tuple[str, Secret], ...]
    proxy: Secret | None
    ca: FilePath | None = None
    cert: FilePath | None = None
    cert_key: FilePath | None = None

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """All of them, for rotation and for redaction."""
        own = (self.credential.secret,) if self.credential else ()
        return (*own, *(s for _, s in self.headers), *(s for _, s in self.query), *((self.proxy,) if self.proxy else ()))


class Resolver:
    """Makes Upstreams of specs. What is missing is collected as (path, message) and stands in as an empty text."""

    def __init__(self, env: Env, read: ReadFile = read_file) -> None:
        self._env = env
        self._read = read
        self.missing: list[tuple[Path, str]] = []
        self.wrong: list[tuple[Path, str, str]] = []

    def resolve(self, name: str, spec: UpstreamSpec, folder: FilePath, is_home: bool) -> Upstream:
        """The upstream, with tls paths relative to `folder`."""
        credential = None
        if spec.key is not None and spec.key != "none" and spec.auth.scheme != "none":
            secret = self._secret(spec.key, ("key",))
            credential = Credential(spec.auth.header, "", secret) if spec.auth.header else Credential("Authorization", "Bearer ", secret)
        proxy = self._secret(spec.proxy, ("proxy",)) if spec.proxy is not None else None
        if proxy is not None and proxy.value:
            self._check_proxy(proxy.value)
        return Upstream(
            name,
            spec,
            address(spec.url),
            credential,
            is_home and spec.key is None and spec.auth.scheme != "none",
            tuple((key, self._secret(text, ("headers", "set", key))) for key, text in spec.headers.set.items()),
            tuple((key, self._secret(text, ("query", key))) for key, text in spec.query.items()),
            proxy,
            *(self._file(folder, spec.tls, field) for field in ("ca", "cert", "key")),
        )

    def _secret(self, text: str, path: Path) -> Secret:
        try:
            return Secret(text, self._env, self._read)
        except Missing as missing:
            self.missing.append((path, str(missing)))
            return Secret("", self._env)

    def _check_proxy(self, url: str) -> None:
        try:
            scheme, separator, rest = url.partition("://")
            address(f"{scheme}{separator}{rest.rpartition('@')[2]}")
        except Wrong as wrong:
            self.wrong.append((("proxy",), str(wrong), wrong.hint))

    def _file(self, folder: FilePath, tls: TlsSpec | None, field: str) -> FilePath | None:
        given: str | None = getattr(tls, field) if tls is not None else None
        if given is None:
            return None
        path = folder / given
        if not path.is_file():
            self.missing.append((("tls", field), f"there is no file {given}"))
        return path


def is_plain_key(spec: UpstreamSpec) -> bool:
    """Whether the key itself stands in the file."""
    return spec.key is not None and spec.key != "none" and not has_reference(spec.key)
