"""The processor's name, from Linux's list."""

import platform

from gradinit_mt.common.processor import instruction_sets, processor_name


def test_the_model_is_named_and_otherwise_the_architecture(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    assert processor_name(cpuinfo) == platform.machine()
    cpuinfo.write_text("processor\t: 0\nBogoMIPS\t: 50.00\n")
    assert processor_name(cpuinfo) == platform.machine()
    cpuinfo.write_text("processor\t: 0\nmodel name\t: One: Two\n\nprocessor\t: 1\nmodel name\t: Three\n")
    assert processor_name(cpuinfo) == "One: Two"


def test_the_instruction_sets_are_those_of_the_first_core(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    assert instruction_sets(cpuinfo) == set()
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu sse2\nvmx flags\t: ept\n\nprocessor\t: 1\nflags\t\t: fpu\n")
    assert instruction_sets(cpuinfo) == {"fpu", "sse2"}
