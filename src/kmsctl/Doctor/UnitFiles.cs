namespace Kmsctl.Doctor;

/// <summary>What this host has under the name of a unit. The zero is a name that nothing is under.</summary>
internal enum UnitFileKind
{
    None = 0,

    /// <summary>A unit, or the template of one.</summary>
    Unit = 1,

    /// <summary>Another name of a unit: processes run under that one's own.</summary>
    Alias = 2,

    /// <summary>Masked: systemd never starts it.</summary>
    Masked = 3,
}

/// <summary>
/// Looks for units as systemd does (systemd.unit(5), "Unit File Load Path"): in its folders, in their order, the first file
/// counts, and for an instance its own file before its template's. What isn't a file is not known here.
/// </summary>
internal sealed class UnitFiles(params string[] folders)
{
    private const string NoFile = "/dev/null";

    public static UnitFiles OfThisHost { get; } = new(
        "/etc/systemd/system.control", "/run/systemd/system.control", "/run/systemd/transient", "/run/systemd/generator.early",
        "/etc/systemd/system", "/etc/systemd/system.attached", "/run/systemd/system", "/run/systemd/system.attached",
        "/run/systemd/generator", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system",
        "/run/systemd/generator.late");

    /// <param name="unit">Its full name, such as <c>nginx.service</c>.</param>
    /// <param name="name">The name that it runs under, if it is an alias.</param>
    public UnitFileKind Find(string unit, out string name)
    {
        int at = unit.IndexOf('@', StringComparison.Ordinal);
        int dot = unit.LastIndexOf('.');
        string instance = at > 0 && at < dot ? unit[(at + 1)..dot] : string.Empty;
        UnitFileKind kind = FindFile(unit, out name);
        if (kind == UnitFileKind.None && instance.Length > 0)
        {
            kind = FindFile(unit[..(at + 1)] + unit[dot..], out name);
            name = name.Replace("@.", $"@{instance}.", StringComparison.Ordinal);
        }

        return kind;
    }

    private UnitFileKind FindFile(string fileName, out string name)
    {
        name = fileName;
        foreach (string folder in folders)
        {
            var file = new FileInfo(Path.Combine(folder, fileName));
            if (file.LinkTarget is string target)
            {
                string path = Path.GetFullPath(target, folder);
                name = Path.GetFileName(path);
                return path == NoFile ? UnitFileKind.Masked
                    : name != fileName ? UnitFileKind.Alias
                    : File.Exists(path) ? UnitFileKind.Unit
                    : UnitFileKind.None;
            }

            if (file.Exists)
            {
                return file.Length == 0 ? UnitFileKind.Masked : UnitFileKind.Unit;
            }
        }

        return UnitFileKind.None;
    }
}
