# Installs files as install.toml says, which the QEMU image of `cargo xtask image qemu` is made from too: what a system
# needs beside the programs is listed once.
#
#   ROSTRUM_INSTALL_FOLDER   folder of the sources, relative to recipes-rostrum
#   ROSTRUM_INSTALL_EXCEPT   names in it that another recipe installs
#   ROSTRUM_INSTALL_VARIANT  install the entries for this kind of image (`dev`), and only these
#
# A source NAME.in is a template: @WORD@ becomes the value of ROSTRUM_WORD.

ROSTRUM_INSTALL_LIST ??= "${ROSTRUM_LAYER}/install.toml"
ROSTRUM_INSTALL_EXCEPT ??= ""
ROSTRUM_INSTALL_VARIANT ??= ""

S = "${UNPACKDIR}"

def rostrum_install_entries(d):
    """The entries of the list that this recipe installs for this board."""
    import tomllib
    with open(d.getVar("ROSTRUM_INSTALL_LIST"), "rb") as listed:
        entries = tomllib.load(listed)["file"]
    folder = d.getVar("ROSTRUM_INSTALL_FOLDER") + "/"
    variant = d.getVar("ROSTRUM_INSTALL_VARIANT")
    excepted = d.getVar("ROSTRUM_INSTALL_EXCEPT").split()
    mine = []
    for entry in entries:
        if not entry["source"].startswith(folder):
            continue
        name = entry["source"][len(folder):]
        board = d.getVar("ROSTRUM_BOARD") or d.getVar("MACHINE")
        wanted = variant in entry["variants"] if "variants" in entry else not variant
        if not wanted or name in excepted or board not in entry.get("machines", [board]):
            continue
        mine.append((name, entry["target"], int(entry["mode"], 8)))
    return mine

# What is installed depends on the list.
# nooelint: oelint.task.noanonpython
python () {
    bb.parse.mark_dependency(d, d.getVar("ROSTRUM_INSTALL_LIST"))
    entries = rostrum_install_entries(d)
    for name, target, mode in entries:
        d.appendVar("SRC_URI", " file://" + name)
        d.appendVar("FILES:" + d.getVar("PN"), " " + target)
    d.setVar("ROSTRUM_INSTALL_ENTRIES", repr(entries))
}

python do_install() {
    import ast
    import re
    for name, target, mode in ast.literal_eval(d.getVar("ROSTRUM_INSTALL_ENTRIES")):
        with open(os.path.join(d.getVar("UNPACKDIR"), name), encoding="utf-8") as source:
            text = source.read()
        if name.endswith(".in"):
            text = re.sub("@([A-Z_]+)@", lambda word: rostrum_install_value(word.group(1), name, d), text)
        installed = d.getVar("D") + target
        bb.utils.mkdirhier(os.path.dirname(installed))
        with open(installed, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(installed, mode)
}
do_install[vardeps] += "ROSTRUM_INSTALL_ENTRIES"

def rostrum_install_value(word, name, d):
    """What a template's word stands for."""
    value = d.getVar("ROSTRUM_" + word)
    if not value:
        bb.fatal("%s has @%s@, and ROSTRUM_%s is not set" % (name, word, word))
    return value
