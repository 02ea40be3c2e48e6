rule judge_claims:
    input:
        tables=list(PLAN.claim_tables.values()),
    output:
        **{
            f"{kind}{part}": f"{RESULTS}/claims.{kind}{suffix}"
            for kind in ("json", "md")
            for part, suffix in (("", ""), ("_metadata", "-metadata.json"))
        },
    log:
        logged("judge_claims"),
    benchmark:
        timed("judge_claims")
    conda:
        "../envs/dcsc.yaml"
    threads: 1
    resources:
        **resources_of("judge_claims"),
    params:
        **params_of("judge_claims", PLAN.claim_settings),
    script:
        script_of("judge_claims")


rule render_reproduction:
    input:
        claims=f"{RESULTS}/claims.json",
        metadata=f"{RESULTS}/claims.json-metadata.json",
        template=local(f"{PAGES}/reproduction.md"),
        captions=brought(
            f"{PAGES}/{PLAN.caption_of(panel)}" for panel in PLAN.panels.values()
        ),
    output:
        page=f"{RESULTS}/reproduction.md",
        metadata=f"{RESULTS}/reproduction.md-metadata.json",
    log:
        logged("render_reproduction"),
    benchmark:
        timed("render_reproduction")
    conda:
        "../envs/dcsc.yaml"
    threads: 1
    resources:
        **resources_of("render_reproduction"),
    params:
        **params_of("render_reproduction", PLAN.page_settings),
    script:
        script_of("render_reproduction")
