rule sample_signals:
    input:
        dictionaries=dataset("dictionaries"),
        sweep=of_job(PLAN.sweep_of),
        digests=digests_beside(
            lambda _: [dataset("dictionaries")], of_job(PLAN.sweep_of)
        ),
        plugins=brought(STUDY.plugins),
        codes=lambda wildcards: brought(PLAN.codes_of(wildcards.experiment)),
    output:
        **made("signals"),
    log:
        logged("signals"),
    benchmark:
        timed("signals")
    priority: priority_of("signals")
    conda:
        "../envs/dcsc.yaml"
    threads: 1
    resources:
        **resources_of("signals"),
    params:
        **params_of("signals", PLAN.signal_settings, plugins=STUDY.plugins),
    script:
        script_of("signals")
