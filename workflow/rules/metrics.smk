rule measure_recovery:
    input:
        pursuits=f"{RESULTS}/{{experiment}}/pursuits/{{cascade}}/{{chunk}}.nc",
        signals=f"{RESULTS}/{{experiment}}/signals/{{cascade}}/{{chunk}}.nc",
        dictionaries=f"{RESULTS}/dictionaries/{{cascade}}.nc",
        digests=digests(
            "{experiment}/pursuits/{cascade}/{chunk}.nc",
            "{experiment}/signals/{cascade}/{chunk}.nc",
            "dictionaries/{cascade}.nc",
        ),
    output:
        metrics=f"{RESULTS}/{{experiment}}/metrics/{{cascade}}/{{chunk}}.nc",
        digest=f"{RESULTS}/{{experiment}}/metrics/{{cascade}}/{{chunk}}.nc.sha256",
    log:
        f"logs/{RESULTS}/measure_recovery/{{experiment}}/{{cascade}}/{{chunk}}.log",
    benchmark:
        f"logs/{RESULTS}/measure_recovery/{{experiment}}/{{cascade}}/{{chunk}}.tsv"
    priority: 2  # a chunk is finished before the next one starts, so that little waits on disk
    conda:
        "../envs/dcsc.yaml"
    threads: 1
    resources:
        mem_mb=memory("measure_recovery"),
        runtime=minutes("measure_recovery"),
    params:
        settings=metrics_settings,
        library=library("measure_recovery.py"),
        modules=modules("measure_recovery.py"),
        results=results_folder,
    script:
        "../../scripts/measure_recovery.py"


rule summarize_metrics:
    input:
        metrics=metrics_files,
        dictionaries=dictionary_files,
        digests=summarized_digests,
    output:
        summary=f"{RESULTS}/{{experiment}}/metrics/summary.nc",
        digest=f"{RESULTS}/{{experiment}}/metrics/summary.nc.sha256",
    log:
        f"logs/{RESULTS}/summarize_metrics/{{experiment}}.log",
    benchmark:
        f"logs/{RESULTS}/summarize_metrics/{{experiment}}.tsv"
    conda:
        "../envs/dcsc.yaml"
    threads: 1
    resources:
        mem_mb=memory("summarize_metrics"),
        runtime=minutes("summarize_metrics"),
    params:
        settings=summary_settings,
        cascade_of_metrics=cascade_of_metrics,
        library=library("summarize_metrics.py"),
        modules=modules("summarize_metrics.py"),
        results=results_folder,
    script:
        "../../scripts/summarize_metrics.py"
