rule draw_dictionaries:
    input:
        plugins=STUDY.plugins,
        files=brought_files,
    output:
        multiext(
            f"{RESULTS}/dictionaries/{{cascade}}",
            dictionaries=".nc",
            digest=".nc.sha256",
        ),
    log:
        f"logs/{RESULTS}/draw_dictionaries/{{cascade}}.log",
    # Studies share dictionaries when Snakemake is given --cache; it then allows no benchmark, and the log has the times.
    cache: True
    conda:
        "../envs/dcsc.yaml"
    threads: 1
    resources:
        mem_mb=memory("draw_dictionaries"),
        runtime=minutes("draw_dictionaries"),
    params:
        settings=lambda wildcards: {
            "cascade": MEMBERS[wildcards.cascade].model_dump(mode="json"),
            "seed": STUDY.seed,
        },
        library=library("draw_dictionaries.py", plugins=STUDY.plugins),
        modules=modules("draw_dictionaries.py", plugins=STUDY.plugins),
        results=results_stand_in,
    script:
        "../../scripts/draw_dictionaries.py"
