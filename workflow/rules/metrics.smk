rule measure_recovery:
    input:
        pursuits=dataset("pursuits"),
        signals=dataset("signals"),
        dictionaries=dataset("dictionaries"),
        digests=digests("pursuits", "signals", "dictionaries"),
    output:
        **made("metrics"),
    log:
        logged("metrics"),
    benchmark:
        timed("metrics")
    priority: priority_of("metrics")
    conda:
        "../envs/dcsc.yaml"
    threads: 1
    resources:
        **resources_of("metrics"),
    params:
        **params_of("metrics", PLAN.metrics_settings),
    script:
        script_of("metrics")


rule summarize_metrics:
    input:
        metrics=of_experiment("metrics"),
        dictionaries=of_experiment("dictionaries"),
        digests=digests_beside(of_experiment("metrics"), of_experiment("dictionaries")),
    output:
        **made("summary"),
    log:
        logged("summary"),
    benchmark:
        timed("summary")
    priority: priority_of("summary")
    conda:
        "../envs/dcsc.yaml"
    threads: 1
    resources:
        **resources_of("summary"),
    params:
        **params_of("summary", PLAN.summary_settings),
        cascade_of_metrics=of_job(PLAN.cascade_of_chunks),
    script:
        script_of("summary")
