rule refine_sweep:
    input:
        dictionaries=f"{RESULTS}/dictionaries/{{cascade}}.nc",
        digests=digests("dictionaries/{cascade}.nc"),
        plugins=STUDY.plugins,
    output:
        sweep=f"{RESULTS}/{{experiment}}/sweeps/{{cascade}}.nc",
        digest=f"{RESULTS}/{{experiment}}/sweeps/{{cascade}}.nc.sha256",
    log:
        f"logs/{RESULTS}/refine_sweep/{{experiment}}/{{cascade}}.log",
    benchmark:
        f"logs/{RESULTS}/refine_sweep/{{experiment}}/{{cascade}}.tsv"
    conda:
        "../envs/dcsc.yaml"
    threads: 1
    resources:
        mem_mb=memory("refine_sweep"),
        runtime=minutes("refine_sweep"),
    params:
        settings=sweep_settings,
        library=library("refine_sweep.py", plugins=STUDY.plugins),
        modules=modules("refine_sweep.py", plugins=STUDY.plugins),
        results=results_folder,
    script:
        "../../scripts/refine_sweep.py"
