rule run_pursuits:
    input:
        signals=f"{RESULTS}/{{experiment}}/signals/{{cascade}}/{{chunk}}.nc",
        dictionaries=f"{RESULTS}/dictionaries/{{cascade}}.nc",
        digests=digests(
            "{experiment}/signals/{cascade}/{chunk}.nc", "dictionaries/{cascade}.nc"
        ),
        plugins=STUDY.plugins,
    output:
        pursuits=kept(
            "pursuits", f"{RESULTS}/{{experiment}}/pursuits/{{cascade}}/{{chunk}}.nc"
        ),
        digest=kept(
            "pursuits",
            f"{RESULTS}/{{experiment}}/pursuits/{{cascade}}/{{chunk}}.nc.sha256",
        ),
    log:
        f"logs/{RESULTS}/run_pursuits/{{experiment}}/{{cascade}}/{{chunk}}.log",
    benchmark:
        f"logs/{RESULTS}/run_pursuits/{{experiment}}/{{cascade}}/{{chunk}}.tsv"
    priority: 1  # a chunk is finished before the next one starts, so that little waits on disk
    conda:
        "../envs/dcsc.yaml"
    threads: 1
    resources:
        mem_mb=memory("run_pursuits"),
        runtime=minutes("run_pursuits"),
    params:
        settings=pursuit_settings,
        library=library("run_pursuits.py", plugins=STUDY.plugins),
        modules=modules("run_pursuits.py", plugins=STUDY.plugins),
        results=results_folder,
    script:
        "../../scripts/run_pursuits.py"
