rule judge_claims:
    input:
        tables=list(claim_tables().values()),
    output:
        **{
            f"{kind}{part}": f"{RESULTS}/claims.{kind}{suffix}"
            for kind in ("json", "md")
            for part, suffix in (("", ""), ("_metadata", "-metadata.json"))
        },
    log:
        f"logs/{RESULTS}/judge_claims.log",
    benchmark:
        f"logs/{RESULTS}/judge_claims.tsv"
    conda:
        "../envs/dcsc.yaml"
    threads: 1
    resources:
        mem_mb=memory("judge_claims"),
        runtime=minutes("judge_claims"),
    params:
        settings=claim_settings,
        library=library("judge_claims.py"),
        modules=modules("judge_claims.py"),
        results=results_folder,
    script:
        "../../scripts/judge_claims.py"


rule render_reproduction:
    input:
        claims=f"{RESULTS}/claims.json",
        metadata=f"{RESULTS}/claims.json-metadata.json",
        template=f"{PAGES}/reproduction.md",
        captions=[f"{PAGES}/{panel}.rst" for panel in shown_panels().values()],
    output:
        page=f"{RESULTS}/reproduction.md",
        metadata=f"{RESULTS}/reproduction.md-metadata.json",
    log:
        f"logs/{RESULTS}/render_reproduction.log",
    benchmark:
        f"logs/{RESULTS}/render_reproduction.tsv"
    conda:
        "../envs/dcsc.yaml"
    threads: 1
    resources:
        mem_mb=memory("render_reproduction"),
        runtime=minutes("render_reproduction"),
    params:
        settings=page_settings,
        library=library("render_reproduction.py"),
        modules=modules("render_reproduction.py"),
        results=results_folder,
    script:
        "../../scripts/render_reproduction.py"
