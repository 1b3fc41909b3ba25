"""semconv -- the words of our spans: OpenTelemetry's semantic conventions 1.44.0 (GenAI: status development), and our own `chassis.*`.

In one module with their version, as the GenAI names still change; a test compares them with the published package.
Also what needs a table: an endpoint's operation, a host's provider, a path without what identifies.
"""

from __future__ import annotations

from functools import lru_cache

SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"

HTTP_METHOD = "http.request.method"
HTTP_ROUTE = "http.route"
HTTP_STATUS = "http.response.status_code"
PROTOCOL_VERSION = "network.protocol.version"
URL_SCHEME = "url.scheme"
USER_AGENT = "user_agent.original"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
ERROR_TYPE = "error.type"

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_STREAM = "gen_ai.request.stream"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_ID = "gen_ai.response.id"
FINISH_REASONS = "gen_ai.response.finish_reasons"
FIRST_CHUNK_S = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHED_TOKENS = "gen_ai.usage.cache_read.input_tokens"
REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens"

CALL = "chassis.call"
ENDPOINT = "chassis.endpoint"
ORIGIN = "chassis.origin"
OUTCOME = "chassis.outcome"
FAULT = "chassis.fault"
EXCHANGES = "chassis.exchanges"
EXCHANGE = "chassis.exchange"
UPSTREAM = "chassis.upstream"
MODEL_ASKED = "chassis.model.asked"
MODEL_SENT = "chassis.model.sent"
POLICIES = "chassis.policies"
LABEL = "chassis.label."  # and a label's name, as `k8s.pod.label.` has it; one text each
HEAD_MS = "chassis.head_ms"
POLICY = "chassis.policy"
MODE = "chassis.mode"
ACTED = "chassis.acted"

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"))
OTHER_METHOD = "_OTHER"

_OPERATIONS = {"chat": "chat", "responses": "chat", "completions": "text_completion", "embeddings": "embeddings"}

_PROVIDERS = (  # by the host's end; the conventions say `openai` for whatever else speaks its API
    (".openai.azure.com", "azure.ai.openai"),
    (".cognitiveservices.azure.com", "azure.ai.openai"),
    (".services.ai.azure.com", "azure.ai.inference"),
    (".models.ai.azure.com", "azure.ai.inference"),
    (".groq.com", "groq"),
    (".mistral.ai", "mistral_ai"),
    (".deepseek.com", "deepseek"),
    (".anthropic.com", "anthropic"),
    (".cohere.com", "cohere"),
    (".cohere.ai", "cohere"),
    (".perplexity.ai", "perplexity"),
    (".x.ai", "x_ai"),
    (".amazonaws.com", "aws.bedrock"),
    (".api.aws", "aws.bedrock"),
    ("generativelanguage.googleapis.com", "gcp.gemini"),
    ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    (".ml.cloud.ibm.com", "ibm.watsonx.ai"),
)

_WORDS = frozenset(  # path segments that name a thing of the API; any other may be an id, a model's name or a secret
    b"v1 api openai deployments engines beta chat completions responses input_items input_tokens compact cancel conversations items "
    b"embeddings images generations edits variations audio speech transcriptions translations voices realtime sessions "
    b"transcription_sessions "
    b"client_secrets calls accept reject refer hangup files content uploads parts complete batches models moderations fine_tuning "
    b"fine-tunes jobs events checkpoints permissions pause resume alpha graders run validate vector_stores file_batches search "
    b"assistants threads messages runs steps submit_tool_outputs videos remix evals output_items containers skills versions "
    b"organization projects users invites usage costs api_keys admin_api_keys audit_logs certificates".split()
)
_SEGMENTS = 10  # the deepest path of the API has nine


def operation(endpoint: str) -> str:
    """`gen_ai.operation.name` of an endpoint: the conventions' word where they have one, else the endpoint's own."""
    return _OPERATIONS.get(endpoint, endpoint)


@lru_cache(256)  # hosts come from policies
def provider(host: str) -> str:
    """`gen_ai.provider.name` of an upstream's host."""
    host = "." + host.lower()
    for end, name in _PROVIDERS:
        if host.endswith(end):
            return name
    return "openai"


def route(target: bytes) -> str:
    """The path of a request target with `{id}` for each segment that is not a word of the API, and without its query."""
    path = target.partition(b"?")[0].partition(b"#")[0]
    return _route(path) if len(path) < 64 else _route.__wrapped__(path)


@lru_cache(256)  # short ones: mostly the few paths that apps call, and hostile ones take little room
def _route(path: bytes) -> str:
    if not path.startswith(b"/"):
        return "{other}"
    segments = path.split(b"/")
    named = [segment if segment in _WORDS or not segment else b"{id}" for segment in segments[: _SEGMENTS + 1]]
    if len(segments) > len(named):
        named.append(b"...")
    return b"/".join(named).decode("ascii")


def method(name: bytes) -> str:
    """`http.request.method`: a known one, or `_OTHER`."""
    text = name.decode("latin-1")
    return text if text in METHODS else OTHER_METHOD
