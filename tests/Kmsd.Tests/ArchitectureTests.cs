using System.Reflection;
using Kms.Client.Protocol;
using Kms.Hsm;
using Kmsd.Storage;
using NetArchTest.Rules;
using TestResult = NetArchTest.Rules.TestResult;

namespace Kmsd.Tests;

/// <summary>The direction of references of docs/architecture.md: down the list of folders only.</summary>
public sealed class ArchitectureTests
{
    private const string Database = "Microsoft.Data.Sqlite";

    private static readonly Assembly s_daemon = typeof(Writer).Assembly;
    private static readonly string[] s_folders =
        ["Commands", "Rpc", "Recovery", "Custody", "Audit", "Stores", "Rotation", "Deletion", "Keys", "Notifications", "Integrity", "History", "Access", "RootKeys", "Storage", "Configuration", "Metrics", "Hosting"];

    /// <summary>Each folder with those it may use; itself, Kms.Client.Protocol and .NET aside.</summary>
    [Theory]
    [InlineData("Hosting", "")]
    [InlineData("Metrics", "")]
    [InlineData("Storage", "Metrics Hosting")]
    [InlineData("Access", "Hosting")]
    [InlineData("RootKeys", "Storage Metrics Hosting")]
    [InlineData("Custody", "RootKeys Storage Hosting")]
    [InlineData("History", "Access Storage Hosting")]
    [InlineData("Integrity", "History RootKeys Storage Hosting")]
    [InlineData("Notifications", "Access Storage Hosting")]
    [InlineData("Keys", "Access History Notifications RootKeys Storage Metrics Hosting")]
    [InlineData("Stores", "Keys Access History Notifications RootKeys Storage Hosting")]
    [InlineData("Rotation", "Keys Access History Notifications RootKeys Storage Hosting")]
    [InlineData("Deletion", "Keys Access History Notifications RootKeys Storage Hosting")]
    [InlineData("Audit", "Keys Access History Notifications RootKeys Storage Hosting")]
    [InlineData("Configuration", "Access Hosting")]
    [InlineData("Recovery", "Rotation Deletion Keys Access History Notifications Integrity RootKeys Storage Metrics Hosting")]
    [InlineData("Rpc", "Recovery Integrity Audit Stores Rotation Deletion Keys Access History Notifications RootKeys Storage Metrics Hosting")]
    public void A_folder_reaches_only_those_below_it(string folder, string below)
    {
        string[] forbidden = [.. s_folders.Except(below.Split(' ')).Except([folder]).Select(name => "Kmsd." + name)];
        Holds(In(folder).ShouldNot().HaveDependencyOnAny(forbidden));
    }

    [Fact]
    public void Every_folder_has_its_rule()
    {
        IEnumerable<string> folders = s_daemon.GetTypes().Select(type => type.Namespace ?? "")
            .Where(name => name.StartsWith("Kmsd.", StringComparison.Ordinal)).Select(name => name.Split('.')[1]).Distinct();
        Assert.Equal(s_folders.Order(StringComparer.Ordinal), folders.Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("Access")]
    [InlineData("History")]
    [InlineData("Integrity")]
    [InlineData("Keys")]
    [InlineData("Stores")]
    [InlineData("Rotation")]
    [InlineData("Deletion")]
    [InlineData("Audit")]
    [InlineData("Recovery")]
    [InlineData("Notifications")]
    [InlineData("RootKeys")]
    [InlineData("Storage")]
    [InlineData("Configuration")]
    [InlineData("Metrics")]
    public void Only_Rpc_Hosting_and_the_composition_reach_the_network(string folder) =>
        Holds(In(folder).ShouldNot().HaveDependencyOnAny("System.Net", "StreamJsonRpc", "Nerdbank", "PolyType"));

    /// <summary>Of Kms.Hsm everybody may hold a secret in locked memory; the token is for RootKeys and the composition alone.</summary>
    [Theory]
    [InlineData("Rpc")]
    [InlineData("Stores")]
    [InlineData("Rotation")]
    [InlineData("Deletion")]
    [InlineData("Audit")]
    [InlineData("Recovery")]
    [InlineData("Notifications")]
    [InlineData("Keys")]
    [InlineData("Access")]
    [InlineData("History")]
    [InlineData("Integrity")]
    [InlineData("Storage")]
    [InlineData("Configuration")]
    [InlineData("Metrics")]
    [InlineData("Hosting")]
    public void Only_RootKeys_and_the_composition_know_the_token(string folder)
    {
        string[] secretMemory = [nameof(SecretBytes), nameof(SecretLease), nameof(SecretFill)];
        string[] token =
        [
            .. typeof(Token).Assembly.GetTypes().Where(type => type.Namespace == "Kms.Hsm" && !type.IsNested && !secretMemory.Contains(type.Name))
                .Select(type => type.FullName!),
            "Net.Pkcs11Interop",
        ];
        Assert.Contains("Kms.Hsm.Token", token);
        Holds(In(folder).ShouldNot().HaveDependencyOnAny(token));
    }

    /// <summary>A slice prepares statements through Storage; of the driver it sees the reader of a row, and nothing else.</summary>
    [Fact]
    public void Only_Storage_drives_the_database()
    {
        string[] driver =
        [
            .. Assembly.Load(Database).GetExportedTypes().Select(type => type.FullName!).Except([Database + ".SqliteDataReader"]),
        ];
        Assert.Contains(Database + ".SqliteConnection", driver);
        Holds(Types.InAssembly(s_daemon).That().DoNotResideInNamespace("Kmsd.Storage").ShouldNot().HaveDependencyOnAny(driver));
    }

    [Theory]
    [InlineData("Access")]
    [InlineData("Rpc")]
    [InlineData("Stores")]
    [InlineData("Rotation")]
    [InlineData("Deletion")]
    [InlineData("Audit")]
    [InlineData("Configuration")]
    [InlineData("Commands")]
    [InlineData("Metrics")]
    [InlineData("Hosting")]
    public void These_folders_see_no_row_at_all(string folder) => Holds(In(folder).ShouldNot().HaveDependencyOn(Database));

    [Fact]
    public void Projects_reference_one_another_one_way()
    {
        Assert.Equal(["Kms.Client", "Kms.Hsm"], OursIn(s_daemon.GetReferencedAssemblies()));
        Assert.Empty(OursIn(typeof(Token).Assembly.GetReferencedAssemblies()));
        Assert.Empty(OursIn(typeof(KeyTag).Assembly.GetReferencedAssemblies()));
    }

    /// <summary>kmsctl isn't referenced here: what its project file says is what it can use.</summary>
    [Theory]
    [InlineData("src/kmsctl/kmsctl.csproj", "../Kms.Client/Kms.Client.csproj")]
    [InlineData("src/Kms.Client/Kms.Client.csproj", "")]
    [InlineData("src/Kms.Hsm/Kms.Hsm.csproj", "")]
    public void A_project_file_references_what_it_may(string project, string references)
    {
        var file = System.Xml.Linq.XDocument.Load(Path.Combine(Repository.Root(), project));
        Assert.Equal(references, string.Join(' ', file.Descendants("ProjectReference").Select(reference => (string?)reference.Attribute("Include"))));
    }

    [Fact]
    public void Classes_of_the_daemon_are_internal_and_sealed_unless_they_are_made_to_be_derived_from()
    {
        Type[] ours = [.. s_daemon.GetTypes().Where(type => type.Namespace?.StartsWith("Kmsd", StringComparison.Ordinal) == true)];
        Assert.DoesNotContain(ours, type => type.IsPublic);
        Assert.DoesNotContain(ours, type => type.IsClass && !type.IsAbstract && !type.IsSealed);
    }

    private static PredicateList In(string folder)
    {
        PredicateList types = Types.InAssembly(s_daemon).That().ResideInNamespace("Kmsd." + folder);
        Assert.NotEmpty(types.GetTypes());
        return types;
    }

    private static void Holds(ConditionList condition)
    {
        TestResult result = condition.GetResult();
        Assert.True(result.IsSuccessful, Names(result));
    }

    private static string Names(TestResult result) =>
        "Against the rule: " + string.Join(", ", result.FailingTypeNames ?? []);

    private static IEnumerable<string> OursIn(AssemblyName[] references) => references.Select(reference => reference.Name!)
        .Where(name => name.StartsWith("Kms", StringComparison.OrdinalIgnoreCase)).Order(StringComparer.Ordinal);
}
