for panel, told in PANELS.items():
    drawing = panel.replace("-", "_")

    rule:
        name:
            f"render_{drawing}"
        input:
            summary=summary_files if told.is_measured else [],
            metrics=metrics_files if told.is_measured else [],
            signals=signals_files if "signals" in told.needs else [],
            pursuits=pursuits_files if "pursuits" in told.needs else [],
            certificates=certificates_files if "certificates" in told.needs else [],
            dictionaries=dictionary_files,
            beside=beside_files if "beside" in told.needs else [],
            digests=drawn_digests(told),
        output:
            pdf=f"{RESULTS}/figures/{{experiment}}-{panel}.pdf",
            svg=f"{RESULTS}/figures/{{experiment}}-{panel}.svg",
            png=report(
                f"{RESULTS}/figures/{{experiment}}-{panel}.png",
                caption=f"../report/{panel}.rst",
                category=experiment_title,
                labels={"figure": panel, "kind": "chart"},
            ),
            csv=report(
                f"{RESULTS}/figures/{{experiment}}-{panel}.csv",
                caption=f"../report/{panel}.rst",
                category=experiment_title,
                labels={"figure": panel, "kind": "numbers"},
            ),
            metadata=f"{RESULTS}/figures/{{experiment}}-{panel}.csv-metadata.json",
        log:
            f"logs/{RESULTS}/render_{drawing}/{{experiment}}.log",
        benchmark:
            f"logs/{RESULTS}/render_{drawing}/{{experiment}}.tsv"
        conda:
            "../envs/dcsc.yaml"
        threads: 1
        resources:
            mem_mb=memory(f"render_{drawing}"),
            runtime=minutes(f"render_{drawing}"),
        params:
            settings=figure_settings,
            cascade_of_metrics=cascade_of_metrics,
            drawing=drawing,
            library=library("render_figure.py", drawing),
            modules=modules("render_figure.py", drawing),
            results=results_folder,
        script:
            "../../scripts/render_figure.py"
