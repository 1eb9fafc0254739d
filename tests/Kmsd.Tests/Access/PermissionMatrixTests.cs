using Kms.Client.Protocol;
using Kmsd.Access;

namespace Kmsd.Tests.Access;

/// <summary>The matrix in code against the table of docs/api.md, which is read here.</summary>
public sealed class PermissionMatrixTests
{
    private static readonly (string Column, Capacity Capacity)[] s_columns =
    [
        ("Operator", Capacity.Operator), ("SM", Capacity.StoreManager), ("M", Capacity.Manager), ("E", Capacity.Encryptor),
        ("D", Capacity.Decryptor), ("ED", Capacity.EncryptorDecryptor), ("R", Capacity.Reviewer),
    ];

    [Fact]
    public void The_table_in_code_is_the_documents()
    {
        string[] rows = [.. PermissionMatrix.Rows.Select(row =>
            $"| {row.What} |{string.Concat(s_columns.Select(column => row.Allowed.HasFlag(column.Capacity) ? " ✓ |" : " |"))}")];
        foreach (string row in rows)
        {
            TestContext.Current.TestOutputHelper?.WriteLine(row);
        }

        Assert.Equal(Document(), rows);
    }

    [Fact]
    public void Every_action_stands_in_exactly_one_row()
    {
        Assert.All(Enum.GetValues<KeyAction>().Skip(1), action => Assert.Single(PermissionMatrix.Rows, row => row.Key == action));
        Assert.All(Enum.GetValues<StoreAction>().Skip(1), action => Assert.Single(PermissionMatrix.Rows, row => row.Store == action));
        Assert.All(Enum.GetValues<HostAction>().Skip(1), action => Assert.Single(PermissionMatrix.Rows, row => row.Host == action));
    }

    [Fact]
    public void What_is_asked_of_the_matrix_is_answered_by_its_rows()
    {
        foreach (MatrixRow row in PermissionMatrix.Rows)
        {
            foreach ((KeyRole role, Capacity capacity) in new[]
            {
                (KeyRole.Manager, Capacity.Manager), (KeyRole.Encryptor, Capacity.Encryptor), (KeyRole.Decryptor, Capacity.Decryptor),
                (KeyRole.EncryptorDecryptor, Capacity.EncryptorDecryptor), (KeyRole.Reviewer, Capacity.Reviewer), (KeyRole.None, Capacity.None),
            })
            {
                Assert.Equal(row.Key != KeyAction.None && capacity != Capacity.None && row.Allowed.HasFlag(capacity), PermissionMatrix.Allows(role, row.Key));
            }

            bool isForManagers = row.Allowed.HasFlag(Capacity.StoreManager);
            Assert.Equal(row.Key != KeyAction.None && isForManagers, PermissionMatrix.Allows(StoreRole.Manager, row.Key));
            Assert.Equal(row.Store != StoreAction.None && isForManagers, PermissionMatrix.Allows(StoreRole.Manager, row.Store));
            Assert.Equal(row.Store != StoreAction.None && row.Allowed.HasFlag(Capacity.Operator), PermissionMatrix.OperatorMay(row.Store));
            Assert.False(PermissionMatrix.Allows(StoreRole.User, row.Key));
            Assert.False(PermissionMatrix.Allows(StoreRole.User, row.Store));
            Assert.False(PermissionMatrix.Allows(StoreRole.None, row.Key));
        }
    }

    [Fact]
    public void A_number_that_is_no_role_or_action_allows_nothing()
    {
        Assert.False(PermissionMatrix.Allows((KeyRole)99, KeyAction.See));
        Assert.False(PermissionMatrix.Allows(KeyRole.Manager, (KeyAction)99));
        Assert.False(PermissionMatrix.Allows(KeyRole.Manager, KeyAction.None));
        Assert.False(PermissionMatrix.Allows((StoreRole)99, StoreAction.ManageStore));
        Assert.False(PermissionMatrix.OperatorMay((StoreAction)99));
        Assert.False(PermissionMatrix.OperatorMay(StoreAction.None));
    }

    private static IEnumerable<string> Document()
    {
        string[] lines = File.ReadAllLines(Path.Combine(Repository.Root(), "docs/api.md"));
        int header = Array.IndexOf(lines, "| | Operator | SM | M | E | D | ED | R |");
        Assert.True(header > 0);
        return lines.Skip(header + 2).TakeWhile(line => line.StartsWith('|'));
    }
}
