rule refine_sweep:
    input:
        dictionaries=dataset("dictionaries"),
        digests=digests("dictionaries"),
        plugins=brought(STUDY.plugins),
    output:
        **made("sweeps"),
    log:
        logged("sweeps"),
    benchmark:
        timed("sweeps")
    priority: priority_of("sweeps")
    conda:
        "../envs/dcsc.yaml"
    threads: 1
    resources:
        **resources_of("sweeps"),
    params:
        **params_of("sweeps", PLAN.sweep_settings, plugins=STUDY.plugins),
    script:
        script_of("sweeps")
