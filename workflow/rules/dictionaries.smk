rule draw_dictionaries:
    input:
        plugins=STUDY.plugins,
        files=brought_files,
    output:
        dictionaries=f"{RESULTS}/dictionaries/{{cascade}}.nc",
        digest=f"{RESULTS}/dictionaries/{{cascade}}.nc.sha256",
    log:
        f"logs/{RESULTS}/draw_dictionaries/{{cascade}}.log",
    benchmark:
        f"logs/{RESULTS}/draw_dictionaries/{{cascade}}.tsv"
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
        sources=sources("draw_dictionaries.py"),
        results=results_folder,
    script:
        "../../scripts/draw_dictionaries.py"
