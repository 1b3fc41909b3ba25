"""Our attribute names are the published ones; what identifies never becomes a route."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

from proxy.adapters import semconv


def published() -> set[str]:
    """All attribute names of the conventions' package."""
    import opentelemetry.semconv._incubating.attributes as package

    names = set()
    for found in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{found.name}")
        names |= {value for value in vars(module).values() if isinstance(value, str)}
    return names


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_attribute_is_of_the_conventions_or_our_own() -> None:
    ours = {value for name, value in vars(semconv).items() if name.isupper() and isinstance(value, str) and "://" not in value}
    ours -= {semconv.OTHER_METHOD}
    foreign = {name for name in ours if not name.startswith("chassis.")}

    assert len(foreign) > 15
    assert foreign - published() == set()


def test_the_schema_is_one_that_is_published() -> None:
    from opentelemetry.semconv.schemas import Schemas

    assert semconv.SCHEMA_URL in {schema.value for schema in Schemas}


@pytest.mark.parametrize(
    ("target", "route"),
    [
        (b"/v1/chat/completions", "/v1/chat/completions"),
        (b"/v1/chat/completions?api-key=sk-canary", "/v1/chat/completions"),
        (b"/v1/responses/resp_67cb32528d6881909eb2859a55e18a85/input_items?limit=2", "/v1/responses/{id}/input_items"),
        (b"/v1/files/file-abc123/content", "/v1/files/{id}/content"),
        (b"/v1/models/gpt-4o", "/v1/models/{id}"),
        (b"/v1/threads/t/runs/r/steps/s", "/v1/threads/{id}/runs/{id}/steps/{id}"),
        (b"/openai/deployments/secret-project/chat/completions", "/openai/deployments/{id}/chat/completions"),
        (b"/v1//chat%2Fcompletions/", "/v1//{id}/"),
        (b"/sk-canary", "/{id}"),
        (b"/" + b"a/" * 50, "/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/{id}/..."),
        (b"http://u:sk-canary@host/v1/models", "{other}"),
        (b"*", "{other}"),
        (b"/\xff\xfe", "/{id}"),
    ],
)
def test_a_route_names_words_of_the_api_only(target: bytes, route: str) -> None:
    assert semconv.route(target) == route


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("api.openai.com", "openai"),
        ("eu.api.openai.com", "openai"),
        ("acme.openai.azure.com", "azure.ai.openai"),
        ("API.GROQ.COM", "groq"),
        ("api.mistral.ai", "mistral_ai"),
        ("generativelanguage.googleapis.com", "gcp.gemini"),
        ("us-central1-aiplatform.googleapis.com", "gcp.vertex_ai"),
        ("bedrock-runtime.us-east-1.amazonaws.com", "aws.bedrock"),
        ("notgroq.com", "openai"),
        ("127.0.0.1", "openai"),
        ("", "openai"),
    ],
)
def test_a_provider_is_known_by_its_host(host: str, provider: str) -> None:
    assert semconv.provider(host) == provider


def test_operations_and_methods_are_the_conventions_words() -> None:
    assert [semconv.operation(name) for name in ("chat", "responses", "completions", "embeddings", "audio")] == [
        "chat",
        "chat",
        "text_completion",
        "embeddings",
        "audio",
    ]
    assert (semconv.method(b"POST"), semconv.method(b"BREW")) == ("POST", "_OTHER")
